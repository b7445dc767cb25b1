
"use strict";
const key = (row, column) => {
  const cell = row.cells[column], given = cell.dataset.sort ?? cell.textContent.trim();
  return given !== "" && !isNaN(given) ? Number(given) : given;
};
const compare = (a, b) => a === "" || b === "" ? (a === "") - (b === "")
  : typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
for (const table of document.querySelectorAll("table.sortable")) {
  for (const head of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending", column = head.cellIndex;
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...table.tBodies[0].rows].map(row => [key(row, column), row]);
      rows.sort(([a], [b]) => (a === "" || b === "" || !down) ? compare(a, b) : compare(b, a));
      table.tBodies[0].append(...rows.map(([, row]) => row));
    });
  }
}
const zoom = document.querySelector("dialog"), large = zoom.querySelector("img");
for (const image of document.querySelectorAll("figure img")) {
  const open = () => { large.src = image.src; large.alt = image.alt; zoom.className = ""; zoom.showModal(); };
  image.tabIndex = 0;
  image.addEventListener("click", open);
  image.addEventListener("keydown", event => { if (event.key === "Enter") open(); });
}
large.addEventListener("click", () => zoom.classList.toggle("full"));
zoom.addEventListener("click", event => { if (event.target === zoom) zoom.close(); });
