//! Phones that speak Apple's real protocol over real TLS: for the demo, for load, for tests.
