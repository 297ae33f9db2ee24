"""Speed and hand-over figures, measured as a neutral client sees them, beside etcd and bare grpcio."""
