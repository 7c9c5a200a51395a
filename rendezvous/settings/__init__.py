"""Every setting of the server, and how settings are read from the command line, the environment and a file."""

from rendezvous.settings.fields import default_text, environment_name, kind_of, option_name
from rendezvous.settings.kinds import FLAG
from rendezvous.settings.reading import CONFIG, CONFIG_HELP, CONFIG_VARIABLE, config_file, read_settings
from rendezvous.settings.reloading import Reload, compare, in_force
from rendezvous.settings.table import Endpoint, Settings, UDPPort

__all__ = [
    "CONFIG",
    "CONFIG_HELP",
    "CONFIG_VARIABLE",
    "FLAG",
    "Endpoint",
    "Reload",
    "Settings",
    "UDPPort",
    "compare",
    "config_file",
    "default_text",
    "environment_name",
    "in_force",
    "kind_of",
    "option_name",
    "read_settings",
]
