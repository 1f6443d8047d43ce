-- A recorded neuron, modelled or not.
SELECT
  u.animal_id,                    -- number of the animal
  u.session,                      -- of the animal
  u.scan_idx,                     -- recording of the session
  u.unit_id,                      -- neuron of the recording
  a.brain_area,                   -- visual area; 'unknown': outside every drawn area
  l.layer,                        -- cortical layer; 'unset': below and above every known layer
  u.field,                        -- imaged plane
  f.field_depth,                  -- of the plane below the pia, um
  u.px_x,                         -- in its plane, px
  u.px_y,                         -- in its plane, px
  u.um_x,                         -- position in the recording's own frame, um
  u.um_y,                         -- position in the recording's own frame, um
  u.um_z,                         -- position in the recording's own frame, um
  c.cell_name                     -- of a foraging animal's cell, in its source
FROM [Scan.Unit] AS u
LEFT JOIN [AreaMembership] AS a USING (animal_id, session, scan_idx, unit_id)
LEFT JOIN [LayerMembership] AS l USING (animal_id, session, scan_idx, unit_id)
LEFT JOIN [Scan.Field] AS f USING (animal_id, session, scan_idx, field)
LEFT JOIN [OpenField.Cell] AS c USING (animal_id, session, scan_idx, unit_id)
