//! OpenSSH does the ssh: argument lists, keys, the files it reads, the connection we keep open.

pub mod argv;
pub mod connection;
pub mod host;
pub mod include;
pub mod keys;

pub use connection::Guest;
pub use host::Host;
