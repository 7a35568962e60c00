//! The corpora as their users see them, in one binary: to link one takes seconds.

mod job;
mod nexmark;
mod tpch;
