//! Plans and their differentiation.
