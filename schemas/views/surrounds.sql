-- What around its masked MEI excites a unit most, or least.
SELECT
  s.training_set_hash,            -- what the ensemble was trained on
  s.model_hash,                   -- architecture
  s.train_hash,                   -- how it was trained
  s.seed_set_hash,                -- seeds of its members
  s.selection_hash,               -- rule that selected the unit
  s.mei_hash,                     -- how the MEI was synthesised
  s.mask_hash,                    -- how its mask was made
  s.surround_hash,                -- how the surround was made
  u.animal_id,                    -- number of the animal
  u.session,                      -- of the animal
  u.scan_idx,                     -- recording of the session
  u.unit_id,                      -- neuron of the recording
  s.unit_index,                   -- column of the model
  k.surround_excites,             -- most or least
  s.centre_activation,            -- to the masked MEI alone
  s.surround_activation,          -- to MEI and surround
  s.surround_alive                -- 0: nothing outside the mask matters
FROM [SurroundMEI.Unit] AS s
JOIN [SurroundMethod] AS k USING (surround_hash)
JOIN [TargetDataset.Unit] AS u USING (training_set_hash, unit_index)
