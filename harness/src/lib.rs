//! Clusters, replayers, reports.
