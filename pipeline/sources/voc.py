import numpy as np
VOID=255
def palette():
    labels = np.arange(256, dtype=np.uint8)
    colours = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= (labels >> (3 * bit + channel) & 1) << (7 - bit)
    return colours
