-- An epoch of a training.
SELECT
  e.training_set_hash,            -- what the network was trained on
  e.model_hash,                   -- architecture
  e.train_hash,                   -- how it was trained
  e.seed,                         -- of the network
  e.epoch,                        -- number, counted from 1
  e.learning_rate,                -- in the epoch
  e.train_loss,                   -- mean over batches, all terms
  e.epoch_score                   -- validation score after the epoch
FROM [TrainedModel.Epoch] AS e
