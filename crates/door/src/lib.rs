//! The room that holds the phones' connections. It parses no body and lets nothing unsigned out.
