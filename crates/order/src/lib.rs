//! Orders, warrants, key statements, roles and free queries: their bytes, signatures and checks. Pure.
