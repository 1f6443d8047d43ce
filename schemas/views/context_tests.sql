-- A network with feedback in contexts that it was not trained on.
SELECT
  t.training_set_hash,            -- task
  t.model_hash,                   -- architecture
  t.train_hash,                   -- how it was trained
  t.seed,                         -- of the network
  t.context_test_hash,            -- in which contexts it is tested
  t.network_type,                 -- direct, unmixing, modulation, spatial or dale
  t.network_tau,                  -- of the low-pass of feedback, steps
  t.kernel_width,                 -- of the reach of feedback
  t.test_noise,                   -- sd of what is added to inputs
  t.test_loss,                    -- of a context, sum over its steps, mean of all
  t.deviation_start,              -- of outputs from sources, first tenth of contexts
  t.deviation_end,                -- second half of contexts
  t.code_hash                     -- software that tested it: see code_versions
FROM [ContextTest] AS t
