//! Stack traces of Rust, which a panic hook appends to the DETAIL of errors where the environment asks for them.

/// Turns them off for this process, whatever the server's environment says: they tell a user nothing.
pub fn turn_off() {
    // SAFETY: a server process has one thread when it loads a library, so nobody reads the environment meanwhile.
    unsafe {
        std::env::set_var("RUST_LIB_BACKTRACE", "0");
    }
}
