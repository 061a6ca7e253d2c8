//! The room that parses what phones send and seals it before anyone else sees it.
