//! Development only: a whole house in a temporary folder, a push stand-in, recorders.
