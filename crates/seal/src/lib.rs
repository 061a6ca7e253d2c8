//! Compartments, sealing and opening, masks, indexes, change tags. Pure.
