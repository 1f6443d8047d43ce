"""What was recorded: scans, units, images, conditions, trials and activity. Filled by ingest."""

import datajoint as dj

schema = dj.Schema()


@schema
class Rig(dj.Manual):
    definition = """
    # A setup with its monitor
    rig : varchar(16)
    """


@schema
class MonitorCalibration(dj.Manual):
    definition = """
    # What a rig's monitor emitted, as measured
    -> Rig
    calibrated_at : datetime
    ---
    pixel_value : <blob>                # float64, (k,), ascending from 0 to 255
    luminance : <blob>                  # float64, (k,), cd/m2
    """


@schema
class Scan(dj.Manual):
    definition = """
    # One recording of one animal
    animal_id : int64
    session : int64
    scan_idx : int16
    ---
    reader : varchar(24)                # which reader ingested it
    reader_version : varchar(32)
    source_name : varchar(255)          # file or folder, or a description of the generator
    source_size = null : int64          # bytes
    source_sha256 = null : char(64)     # of a folder: of the list of its files' checksums
    ingested_at = CURRENT_TIMESTAMP : datetime
    -> [nullable] Rig
    recorded_at = null : datetime
    """

    class Field(dj.Part):
        definition = """
        # An imaged plane
        -> master
        field : int16
        ---
        field_depth = null : float64    # um below the pia
        px_height = null : int16
        px_width = null : int16
        um_height = null : float64
        um_width = null : float64
        """

    class Unit(dj.Part):
        definition = """
        # A recorded neuron
        -> master
        unit_id : int32
        ---
        -> [nullable] Scan.Field
        px_x = null : float64           # in its field, px
        px_y = null : float64
        um_x = null : float64           # position in the recording's own frame, um
        um_y = null : float64
        um_z = null : float64
        delay = 0 : float64             # s, of its samples after the frame times
        """


@schema
class Screen(dj.Manual):
    definition = """
    # What the images were shown on; they fill its width
    -> Scan
    ---
    screen_width_cm : float64
    screen_distance_cm : float64        # from the eye to its middle
    """


@schema
class AreaMembership(dj.Manual):
    definition = """
    # Visual area of a unit
    -> Scan.Unit
    ---
    brain_area : varchar(16)            # 'unknown': outside every drawn area
    """


@schema
class LayerMembership(dj.Manual):
    definition = """
    # Cortical layer of a unit
    -> Scan.Unit
    ---
    layer : varchar(16)                 # 'unset': below and above every known layer
    """


@schema
class Stack(dj.Manual):
    definition = """
    # A frame that recordings are registered to: a reference volume, and how that is done
    stack_id : int32
    ---
    stack_note = '' : varchar(255)
    """


@schema
class StackRegistration(dj.Manual):
    definition = """
    # A recording whose units have coordinates in a stack
    -> Scan
    -> Stack
    """


@schema
class StackUnitCoord(dj.Manual):
    definition = """
    # Position of a unit in a stack
    -> StackRegistration
    -> Scan.Unit
    ---
    stack_x : float64                   # um
    stack_y : float64                   # um
    stack_z : float64                   # um
    """


@schema
class Image(dj.Manual):
    definition = """
    # An image that was or will be shown, as it was made
    image_class : varchar(24)
    image_id : int32
    ---
    image_sha256 : char(64)             # of type, shape and pixels
    image : <blob>                      # uint8, (h, w), grey values
    index (image_sha256)
    """


@schema
class Condition(dj.Manual):
    definition = """
    # An image and how it was presented
    condition_hash : char(16)
    ---
    -> Image
    stimulus_type : varchar(24)         # 'static'
    presentation_time = null : float64  # s
    pre_blank_period = null : float64   # s
    stimulus_params = null : json       # of a rendered image: orientation, position, ...
    """


@schema
class Trial(dj.Manual):
    definition = """
    # One presentation of one condition
    -> Scan
    trial_idx : int32
    ---
    -> Condition
    trial_onset = null : float64        # s, on the clock of the stimulus
    trial_offset = null : float64       # s
    n_flips = null : int16              # of the screen, where they were recorded
    """


@schema
class ExcludedTrial(dj.Manual):
    definition = """
    # A trial that is left out of every analysis; ingest fills in the malformed ones
    -> Trial
    ---
    exclusion_comment : varchar(64)
    """


@schema
class FrameClock(dj.Manual):
    definition = """
    # When the microscope took its frames, all depths interleaved
    -> Scan
    ---
    n_depths : int16
    frame_times : <npy@>                # float64, s, (n, 1 or 2): stimulus, behaviour clock
    """


@schema
class Activity(dj.Manual):
    definition = """
    # The units' activity as recorded; its kind says how responses are taken from it
    -> Scan
    ---
    activity_kind : enum('trace', 'spike_times', 'trial_response')
    """

    class Block(dj.Part):
        definition = """
        # Some of the units, in the order of unit_id
        -> master
        activity_block : int16
        ---
        n_block_units : int32
        activity : <npy@>               # (n_frames or n_trials, n_block_units), or spike times, s
        spike_counts = null : <blob>    # of spike times: how many are of each unit
        activity_digest : char(64)
        """


@schema
class PupilTrack(dj.Manual):
    definition = """
    # The pupil: a track in time, or finished numbers per trial
    -> Scan
    ---
    pupil_sampling : enum('track', 'trial')
    pupil_track : <npy@>                # track: t (s, behaviour clock), radius, x, y; NaN where
                                        # undetected. trial: radius, its change, x, y
    """


@schema
class TreadmillTrace(dj.Manual):
    definition = """
    # Running: a track in time, or finished numbers per trial
    -> Scan
    ---
    treadmill_sampling : enum('track', 'trial')
    treadmill_track : <npy@>            # track: t (s, behaviour clock), velocity. trial: speed
    """


@schema
class VirtualAnimal(dj.Manual):
    definition = """
    # From what the truth of a virtual recording is regenerated; read by reports and tests only
    -> Scan
    ---
    virtual_seed : int64
    virtual_day : int16
    virtual_params : json
    """
