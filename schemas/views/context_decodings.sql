-- How well the context is told from the activity of a layer of a network with feedback.
SELECT
  s.training_set_hash,            -- task
  s.model_hash,                   -- architecture
  s.train_hash,                   -- how it was trained
  s.seed,                         -- of the network
  s.context_decoding_hash,        -- which contexts are decoded
  c.n_decoded_contexts,           -- of a grid
  s.decoded_layer,                -- modulation, population or lower
  s.decoded_target,               -- the context, or the inverse of its mixing
  s.decoder_features,             -- linear or quadratic
  s.context_r2                    -- in contexts left out, mean over folds and entries
FROM [ContextDecoding.Score] AS s
JOIN [ContextDecoding] AS c
  USING (training_set_hash, model_hash, train_hash, seed, context_decoding_hash)
