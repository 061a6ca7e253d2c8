//! The walls between the rooms: .proto files, their generated code, descriptor passing, pairs and peers.
