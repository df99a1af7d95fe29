//! gate-init: mirrors, connections, child processes, warm scanners.
