"""Cores: from an image to the feature map that all units read; one file each (docs/own_model.md).

A core is an `nn.Module` made from its configuration and the image shape. It has `output_shape`
(channels, height, width), `geometry`, which says where in the image a place of the map lies,
`initialize(generator)`, `forward(images, generator)` and `regularizers()`. A generator makes a
core that leaves out channels in training draw them; the others ignore it. A core may have
`windows(images, corners, size)`, which computes parts of its map: MEIs are then made faster.

The last line of a file, `CORE = (its Config, its module)`, is what :mod:`science.model.registry`
looks for; files without it hold what cores share.
"""
