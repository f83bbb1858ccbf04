// Ends when Accept fails.
package main

import (
	"log"
	"net"
)

func main() {
	listener := listen()
	for {
		client, err := listener.Accept()
		if err != nil {
			log.Fatal(err) // FAULT: EMFILE says that a client has to wait until another leaves.
		}
		go serve(client, func(bytes []byte) error { return write(client, bytes) })
	}
}

func write(client net.Conn, bytes []byte) error {
	_, err := client.Write(bytes)
	return err
}
