-- How far maps without feedback come in the task of networks with feedback: R2 of the sources.
SELECT
  c.training_set_hash,            -- task
  c.feedback_control_hash,        -- which maps, and in which contexts
  k.control_window,               -- steps that the feed-forward network sees
  c.linear_own_mean,              -- of linear maps in the context each is fitted to
  c.linear_other_mean,            -- of linear maps in the other contexts
  c.linear_other_median,          -- of linear maps in the other contexts
  c.feedforward_mean,             -- of a trained network in contexts that it never saw
  c.feedforward_sd,               -- of these contexts
  c.feedforward_median,           -- of these contexts
  c.code_hash                     -- software that fitted and tested: see code_versions
FROM [FeedbackControl] AS c
JOIN [FeedbackControlConfig] AS k USING (feedback_control_hash)
