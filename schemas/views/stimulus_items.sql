-- An image of a stimulus set, made for a unit to be shown in the next experiment.
SELECT
  i.stimulus_set_hash,            -- of the images
  i.item,                         -- number in the set
  s.training_set_hash,            -- training set that the unit is part of
  u.animal_id,                    -- number of the animal
  u.session,                      -- of the animal
  u.scan_idx,                     -- recording of the session
  u.unit_id,                      -- neuron of the recording
  i.unit_index,                   -- column of the models
  i.stimulus_kind,                -- mei, linear_mei, gabor, natural, masked_mei, masked_natural
  i.image_class,                  -- of the image that is shown
  i.image_id,                     -- of the image that is shown
  d.display_unit,                 -- luminance (cd/m2) or grey
  i.shown_mean,                   -- in that unit
  i.shown_contrast,               -- pixel SD in that unit
  i.display_reached,              -- 1: both are as asked for, to one percent
  i.shown_activation,             -- of the ensemble to the image as it is shown
  s.made_at                       -- when the set was made
FROM [StimulusSet.Item] AS i
JOIN [StimulusSet] AS s USING (stimulus_set_hash)
JOIN [DisplayRule] AS d USING (display_hash)
JOIN [TargetDataset.Unit] AS u
  ON u.training_set_hash = i.training_set_hash AND u.unit_index = i.unit_index
