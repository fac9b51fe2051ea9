"""Small networks in plain NumPy, for the hundred thousand steps of an experiment of the lecture.

    layers    the layers, each with its forward and backward pass
    networks  a network, its gradients, the optimizers, the training

A step of a network of 2,050 parameters is a few small matrix products, and Keras spends many times longer around them than on them.
Here the passes are written out, with next to no code around the products; tests compare them with Keras' layers and with the gradients of
its backend. The matrices are too small to divide among threads: limit BLAS to one thread while training.

Inside a network values are (channels, positions, batch), or (units, batch) after a fully connected layer, which flattens its input channel
by channel, as PyTorch does. Because the batch is the last axis, the values under one tap of a kernel are contiguous runs in memory, and a
convolution is one copy and one matrix product for the whole batch. Everything is float32.
"""
