-- How well single signals of a network with feedback, and all together, tell one source.
SELECT
  p.training_set_hash,            -- task
  p.model_hash,                   -- architecture
  p.train_hash,                   -- how it was trained
  p.seed,                         -- of the network
  p.context_test_hash,            -- in which contexts it is tested
  t.network_type,                 -- direct, unmixing, modulation, spatial or dale
  t.network_tau,                  -- of the low-pass of feedback, steps
  t.kernel_width,                 -- of the reach of feedback
  t.test_noise,                   -- sd of what is added to inputs
  p.population,                   -- inputs, population, lower or outputs
  p.n_population_units,           -- in it
  p.clarity_mean,                 -- of a unit: correlation with its source less the next one's
  p.clarity_context_sd,           -- of contexts, mean over units
  p.clarity_unit_sd,              -- of units, mean over contexts
  p.decoding_mean,                -- R2 of sources in contexts that the decoder never saw
  p.decoding_sd,                  -- of these contexts
  p.decoding_median,              -- of these contexts
  p.participation_ratio           -- effective number of dimensions
FROM [ContextTest.Population] AS p
JOIN [ContextTest] AS t USING (training_set_hash, model_hash, train_hash, seed, context_test_hash)
