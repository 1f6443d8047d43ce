-- An efficient code of one seed and target rate, analysed exactly over all words; nats.
SELECT
  c.training_set_hash,            -- task
  c.model_hash,                   -- architecture
  c.train_hash,                   -- how it was trained
  c.seed,                         -- of the network
  c.code_analysis_hash,           -- at which stimuli it is analysed
  c.code_index,                   -- of the network
  t.target_rate,                  -- asked for
  c.analysed_rate,                -- reached
  c.analysed_distortion,          -- reached
  c.excess,                       -- of both over the entropy of the sample
  c.mutual_information,           -- of words and stimuli
  c.word_entropy,                 -- of the words that stimuli evoke
  c.posterior_mse,                -- of the decoded mean, squared stimulus
  c.sampling_mse,                 -- of a draw from the decoded law, squared stimulus
  c.mean_width                    -- of tuning, in units of the stimulus
FROM [CodeAnalysis.Code] AS c
JOIN [TrainedModel.Code] AS t USING (training_set_hash, model_hash, train_hash, seed, code_index)
