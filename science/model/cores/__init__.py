"""Cores: from an image to the feature map that all units read.

A core is an `nn.Module` made from its configuration and the image shape. It has `output_shape`
(channels, height, width), `geometry`, which says where in the image a place of the map lies,
`initialize(generator)`, `forward(images, generator)` and `regularizers()`. A generator makes a
core that leaves out channels in training draw them; the others ignore it.
"""
