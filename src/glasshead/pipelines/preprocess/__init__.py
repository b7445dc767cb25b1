"""Split and label the images, and plot the data."""
