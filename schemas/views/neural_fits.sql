-- How well a network explains a recorded cell.
SELECT
  f.neural_fit_hash,              -- network, layer, cells and map
  f.seed,                         -- of the network
  p.training_set_hash,            -- what the network was trained on
  p.model_hash,                   -- architecture
  p.train_hash,                   -- how it was trained
  m.model_family,                 -- image or navigation
  p.fit_layer,                    -- of a path integrator: pre_g, g or dc
  i.image_layer,                  -- of an image network
  p.rate_map_set_hash,            -- animals that are explained
  p.explained_set_hash,           -- or the training set whose units are explained
  p.neural_map_hash,              -- how responses are mapped to cells
  k.map_type,                     -- sklinear, pls or corr
  k.map_train_fraction,           -- of the conditions, or which part of the arena is predicted
  f.animal_id,                    -- number of the animal
  f.session,                      -- of the animal
  f.scan_idx,                     -- recording of the session
  f.unit_id,                      -- neuron of the recording
  f.fit,                          -- r on test conditions, mean over splits; null: constant
  f.fit_corrected,                -- for the noise of the recording
  f.n_fit_conditions              -- bins, or images
FROM [NeuralFit.Cell] AS f
JOIN [NeuralFitPlan] AS p USING (neural_fit_hash)
JOIN [ModelConfig] AS m USING (model_hash)
JOIN [NeuralMapConfig] AS k USING (neural_map_hash)
LEFT JOIN [FeatureConfig] AS i USING (feature_hash)
