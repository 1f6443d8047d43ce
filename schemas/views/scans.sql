-- A recording: one scan of one animal.
SELECT
  s.animal_id,                    -- number of the animal
  s.session,                      -- of the animal
  s.scan_idx,                     -- recording of the session
  s.reader,                       -- which reader ingested it
  s.reader_version,               -- its version
  s.source_name,                  -- file or folder, or a description of the generator
  s.source_size,                  -- bytes
  s.source_sha256,                -- checksum of the source
  s.rig,                          -- setup with its monitor
  s.recorded_at,                  -- when it was recorded, if known
  s.ingested_at,                  -- when it was ingested
  JSON_UNQUOTE(JSON_EXTRACT(s._prov, '$.agent.user')) AS ingested_by,  -- which account did it
  c.calibrated_at,                -- of its monitor: the nearest in time; null: none
  c.delta_time,                   -- from the recording to that calibration, h
  a.activity_kind,                -- trace, spike_times or trial_response
  (SELECT COUNT(*) FROM [Scan.Unit] AS n WHERE n.animal_id = s.animal_id
    AND n.session = s.session AND n.scan_idx = s.scan_idx) AS n_units,  -- recorded neurons
  (SELECT COUNT(*) FROM [Trial] AS n WHERE n.animal_id = s.animal_id
    AND n.session = s.session AND n.scan_idx = s.scan_idx) AS n_trials,  -- presentations of images
  (SELECT COUNT(*) FROM [ExcludedTrial] AS n WHERE n.animal_id = s.animal_id
    AND n.session = s.session AND n.scan_idx = s.scan_idx) AS n_excluded_trials,  -- left out
  v.animal_id IS NOT NULL AS is_virtual,  -- 1: simulated, its truth is known
  o.arena,                        -- of an animal that forages
  o.animal_name                   -- of an animal that forages, in its source
FROM [Scan] AS s
LEFT JOIN [ClosestCalibration] AS c USING (animal_id, session, scan_idx)
LEFT JOIN [Activity] AS a USING (animal_id, session, scan_idx)
LEFT JOIN [VirtualAnimal] AS v USING (animal_id, session, scan_idx)
LEFT JOIN [OpenField] AS o USING (animal_id, session, scan_idx)
