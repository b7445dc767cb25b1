"""Use shap.plots without side effects on pyplot, on shap's colours and on NumPy's global generator."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from matplotlib._pylab_helpers import (
    Gcf,
)  # pyplot's table of figures; pyplot's own way in asks for a display
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrow

from glasshead.reporting.panels import AGAINST, FOR
from glasshead.seeds import numpy_seeded

NUMBER = -1  # a number that pyplot never uses, as it counts from 1
LOCK = threading.Lock()


@contextmanager
def shap_plots(figure: Figure) -> Iterator[ModuleType]:
    """Yield shap.plots in our colours, with `figure` as pyplot's current figure.

    The state of pyplot, shap and NumPy is restored afterwards. One thread may plot at a time.
    """
    from matplotlib import pyplot
    from shap import plots  # its import takes seconds
    from shap.plots._style import get_style, set_style  # shap's own context leaks on errors

    manager = FigureCanvasAgg(figure).new_manager(figure, NUMBER)
    with LOCK, pyplot.ioff(), numpy_seeded(0):
        style = get_style()
        set_style(primary_color_positive=FOR, primary_color_negative=AGAINST)
        set_style(tick_labels_color="black")
        Gcf.figs[NUMBER] = manager
        Gcf.set_active(manager)
        try:
            yield plots
        finally:
            Gcf.figs.pop(NUMBER)
            set_style(style)


def turn_short_arrows(axes: Axes) -> None:
    """Turn waterfall arrows that are shorter than their heads, which shap makes point the wrong way."""
    for arrow in axes.patches:
        if isinstance(arrow, FancyArrow):
            forward = 1 if same_color(arrow.get_facecolor(), FOR) else -1
            corners = arrow.get_xy()  # the tip first, the end of the tail fourth
            if (corners[0, 0] - corners[3, 0]) * forward <= 0:
                arrow.set_data(dx=forward * 1e-9)  # then the head is as long as the value
