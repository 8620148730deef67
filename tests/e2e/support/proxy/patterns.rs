//! The byte strings of the steps between which a crash is placed.
//!
//! AMQP method frames name class and method in four bytes; a body that holds the same four bytes would match too, so
//! cases keep NUL bytes out of bodies. What follows the four bytes in the same frame is given where its length is fixed.

/// `basic.deliver`, broker to client. Its header and body frames follow.
pub(crate) const AMQP_DELIVER: &[u8] = &[0, 60, 0, 60];
/// `basic.publish`, client to broker. Its header and body frames follow.
pub(crate) const AMQP_PUBLISH: &[u8] = &[0, 60, 0, 40];
/// `basic.ack`: of a delivery from the client, the confirm of a publish from the broker.
pub(crate) const AMQP_ACK: &[u8] = &[0, 60, 0, 80];
/// What follows [`AMQP_ACK`] in its frame: tag, `multiple`, end of frame.
pub(crate) const AMQP_ACK_REST: usize = 8 + 1 + 1;
/// `basic.return`, broker to client.
pub(crate) const AMQP_RETURN: &[u8] = &[0, 60, 0, 50];
/// `basic.consume`, client to broker.
pub(crate) const AMQP_CONSUME: &[u8] = &[0, 60, 0, 20];

/// The client opens a transaction with a simple query.
pub(crate) const SQL_BEGIN: &[u8] = b"BEGIN";
/// The client commits with a simple query; in the other direction the server's word that it has.
pub(crate) const SQL_COMMIT: &[u8] = b"COMMIT\0";
/// The client rolls back; in the other direction the server's word that it has.
pub(crate) const SQL_ROLLBACK: &[u8] = b"ROLLBACK\0";
