//! Local networks: what was asked for, what is there, what is damaged.
