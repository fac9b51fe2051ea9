"""The colours of all figures, as hexadecimal RGB."""

INK, GREY, LINE = "#1f2328", "#656d76", "#d0d7de"  # of text, of secondary text, of frames
BLUE, RED, GREEN, VIOLET, BROWN = "#0969da", "#cf222e", "#1a7f37", "#8250df", "#9a6700"
SERIES = (BLUE, RED, GREEN, VIOLET, BROWN)  # of curves and bars, in this order
KINDS = (GREEN, BLUE, VIOLET, "#bc4c00", GREY)  # dark enough for white numbers on them
SPLITS = (BLUE, RED, "#8c959f")  # train, val, test
