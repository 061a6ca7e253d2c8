//! The room that talks to Apple's push service, and to no one else who is not in the configuration file.
