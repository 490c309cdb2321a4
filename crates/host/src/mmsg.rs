//! Batches by Linux' recvmmsg(2) and sendmmsg(2).

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::datagram::Batch;

/// Waits for a datagram and takes along what else is there.
pub(crate) async fn receive(socket: &UdpSocket, batch: &mut Batch) -> io::Result<()> {
    loop {
        socket.readable().await?;
        batch.clear();
        let received = socket.try_io(Interest::READABLE, || {
            receive_now(socket, batch)?;
            // The kernel stops early only when the socket is empty: to say so now spares the call that finds it out.
            if batch.is_full() { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
        });
        match received {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && batch.is_empty() => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            other => return other,
        }
    }
}

fn receive_now(socket: &UdpSocket, batch: &mut Batch) -> io::Result<()> {
    let Batch { buffers, filled } = batch;
    let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(buffers.len(), None);
    let mut slices: Vec<[IoSliceMut<'_>; 1]> = buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
    let received = recvmmsg(socket.as_raw_fd(), &mut headers, &mut slices, MsgFlags::MSG_DONTWAIT, None)?;
    // One whose source cannot be told cannot be answered, but it keeps its place.
    let nobody = SocketAddr::from(([0, 0, 0, 0], 0));
    filled.extend(received.map(|datagram| (datagram.bytes, datagram.address.and_then(peer).unwrap_or(nobody))));
    Ok(())
}

/// Sends every datagram, and goes on after one that cannot be sent.
pub(crate) async fn send(socket: &UdpSocket, batch: &Batch) -> io::Result<()> {
    let datagrams: Vec<(&[u8], SocketAddr)> = batch.iter().collect();
    let mut rest = datagrams.as_slice();
    let mut result = Ok(());
    while !rest.is_empty() {
        let sent = match socket.try_io(Interest::WRITABLE, || send_now(socket, rest)) {
            Ok(sent) => sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                socket.writable().await?;
                continue;
            }
            Err(error) => {
                // It is the first one's.
                result = Err(error);
                1
            }
        };
        rest = rest.get(sent.max(1)..).unwrap_or_default();
    }
    result
}

/// How many of them were sent.
fn send_now(socket: &UdpSocket, datagrams: &[(&[u8], SocketAddr)]) -> io::Result<usize> {
    let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(datagrams.len(), None);
    let slices: Vec<[IoSlice<'_>; 1]> = datagrams.iter().map(|(bytes, _)| [IoSlice::new(bytes)]).collect();
    let peers: Vec<Option<SockaddrStorage>> = datagrams.iter().map(|(_, peer)| Some((*peer).into())).collect();
    let sent = sendmmsg(socket.as_raw_fd(), &mut headers, &slices, &peers, [], MsgFlags::MSG_DONTWAIT)?;
    Ok(sent.count())
}

fn peer(address: SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::V4(SocketAddrV4::from(*v4)));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddr::V6(SocketAddrV6::from(*v6))))
}
