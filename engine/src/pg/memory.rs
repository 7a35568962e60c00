//! Scoped memory contexts.

use pgrx::pg_sys;

/// A memory context that is current while the guard lives and deleted when it is dropped.
///
/// While an error unwinds the guard does nothing: the context is a child of the transaction's and dies with it, and the
/// server resets the current context itself.
pub struct Scope {
    context: pg_sys::MemoryContext,
    previous: pg_sys::MemoryContext,
}

impl Scope {
    /// Creates a child of the current context and makes it current.
    pub fn enter() -> Scope {
        // SAFETY: the current context is valid; the name is static.
        unsafe {
            let previous = pg_sys::CurrentMemoryContext;
            let context = create(previous);
            pg_sys::CurrentMemoryContext = context;
            Scope { context, previous }
        }
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        // SAFETY: guards nest, so the previous context outlives this one; nothing in it is referenced any more.
        unsafe {
            pg_sys::CurrentMemoryContext = self.previous;
            pg_sys::MemoryContextDelete(self.context);
        }
    }
}

/// Runs `body` with `context` current.
///
/// # Safety
/// `context` is a live memory context.
pub unsafe fn within<T>(context: pg_sys::MemoryContext, body: impl FnOnce() -> T) -> T {
    // SAFETY: the caller vouches for the context; on error the server resets the current context itself.
    unsafe {
        let previous = pg_sys::CurrentMemoryContext;
        pg_sys::CurrentMemoryContext = context;
        let result = body();
        pg_sys::CurrentMemoryContext = previous;
        result
    }
}

/// A new allocation-set context below `parent`.
///
/// # Safety
/// `parent` is a live memory context.
pub unsafe fn create(parent: pg_sys::MemoryContext) -> pg_sys::MemoryContext {
    // SAFETY: the name is static, the sizes are the server's defaults.
    unsafe {
        pg_sys::AllocSetContextCreateInternal(
            parent,
            c"pg_trickle".as_ptr(),
            pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
        )
    }
}
