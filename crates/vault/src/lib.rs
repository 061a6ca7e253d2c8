//! The room that holds the keys, the people and the ledger, and decides every order.
