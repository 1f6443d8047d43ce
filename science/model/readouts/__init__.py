"""Readouts: from the core's map to the linear response of every unit of a recording; one file each.

A readout is an `nn.Module` made from its configuration, the map's shape and the number of units.
It has `initialize(mean_responses, generator)`, `constrain()`, `forward(maps, shift, generator)`,
`respond(maps, units, shift)`, `regularizers()`, `positions()` and `feature_weights()`. A shift is
the displacement, by the eye, of all units on the map: one for all images, (1, 2), or one each,
(b, 2), x = width and y = height in half maps. Beyond the map everything is zero. A generator makes
a readout that draws random places draw them; the others ignore it.

The last line of a file, `READOUT = (its Config, its module)`, is what
:mod:`science.model.registry` looks for; files without it hold what readouts share.
"""
