//! Offline: was our EPMM hit, what was taken, what to do now. Needs no server.
