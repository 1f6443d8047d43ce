"""What was recorded: scans, units, images, conditions, trials and activity. Filled by ingest."""

import datajoint as dj

schema = dj.Schema()


@schema
class Scan(dj.Manual):
    definition = """
    # One recording of one animal
    animal_id : int64
    session : int64
    scan_idx : int16
    ---
    reader : varchar(24)                # which reader ingested it
    reader_version : varchar(16)
    source_name : varchar(255)          # file name, or a description of the generator
    source_size = null : int64          # bytes
    source_sha256 = null : char(64)
    ingested_at = CURRENT_TIMESTAMP : datetime
    """

    class Unit(dj.Part):
        definition = """
        # A recorded neuron
        -> master
        unit_id : int32
        ---
        field = null : int16            # imaging field, where there is one
        um_x = null : float64           # position in the recording's own frame, um
        um_y = null : float64
        um_z = null : float64
        """


@schema
class UnitArea(dj.Manual):
    definition = """
    # Visual area of a unit
    -> Scan.Unit
    ---
    brain_area : varchar(16)
    """


@schema
class UnitLayer(dj.Manual):
    definition = """
    # Cortical layer of a unit
    -> Scan.Unit
    ---
    layer : varchar(16)
    """


@schema
class Stack(dj.Manual):
    definition = """
    # A reference volume that recordings are registered to
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

    class Unit(dj.Part):
        definition = """
        # Position of a unit in the stack
        -> master
        -> Scan.Unit
        ---
        stack_x : float64               # um
        stack_y : float64               # um
        stack_z : float64               # um
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
    """


@schema
class Trial(dj.Manual):
    definition = """
    # One presentation of one condition
    -> Scan
    trial_idx : int32
    ---
    -> Condition
    """


@schema
class Activity(dj.Manual):
    definition = """
    # The units' activity as recorded; its kind says how responses are taken from it
    -> Scan
    ---
    activity_kind : enum('trace', 'spike_times', 'trial_response')
    activity : <npy@>                   # trial_response: (n_trials, n_units) by trial_idx, unit_id
    """


@schema
class Behavior(dj.Manual):
    definition = """
    # Behaviour per trial, where it was recorded
    -> Scan
    ---
    behavior_names : json               # names of the columns, with units
    behavior : <npy@>                   # float32, (n_trials, n_names) by trial_idx
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
