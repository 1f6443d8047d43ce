-- What a rig's monitor emits: luminance = amplitude (pixel / 255)^gamma + darkness.
SELECT
  c.rig,                          -- whose monitor
  c.calibrated_at,                -- when it was measured
  c.calibration_status,           -- ok, or flat: the luminance hardly rises
  g.amplitude,                    -- cd/m2
  g.gamma,                        -- exponent
  g.darkness,                     -- at a pixel value of 0, cd/m2
  g.gamma_mse                     -- of the fit, (cd/m2)^2
FROM [ProcessedMonitorCalibration] AS c
LEFT JOIN [ProcessedMonitorCalibration.GammaFit] AS g USING (rig, calibrated_at)
