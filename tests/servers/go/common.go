// What the Go servers share: the listener, and the loop that accepts.
package main

import (
	"fmt"
	"net"
	"os"
	"time"
)

const bufferSize = 64 * 1024

// listen on the port of the command line. Go sets SO_REUSEADDR, and ignores SIGPIPE for sockets.
func listen() net.Listener {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage:", os.Args[0], "PORT")
		os.Exit(2)
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:"+os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return listener
}

// accept clients for ever, each with a goroutine of its own. No error is a reason to end: when descriptors run out, clients wait.
func accept(listener net.Listener, serve func(net.Conn)) {
	for {
		client, err := listener.Accept()
		if err != nil {
			time.Sleep(100 * time.Millisecond)
			continue
		}
		go func() {
			defer client.Close()
			serve(client)
		}()
	}
}

// receive what comes, and answer each piece, until the client ends.
func receive(client net.Conn, answer func([]byte) error) {
	buffer := make([]byte, bufferSize)
	for {
		n, err := client.Read(buffer)
		if n > 0 && answer(buffer[:n]) != nil {
			return
		}
		if err != nil {
			return
		}
	}
}
