// Numbers, which have 8 bytes and end with a point, are answered by a goroutine each, and all else at once.
package main

import (
	"net"
	"sync"
	"time"
)

func echo(client net.Conn) {
	var pending sync.WaitGroup
	receive(client, func(bytes []byte) error {
		for len(bytes) >= 8 && bytes[7] == '.' {
			number := append([]byte(nil), bytes[:8]...)
			bytes = bytes[8:]
			pending.Add(1)
			go func() { // FAULT: the goroutines of one client overtake each other.
				defer pending.Done()
				if number[6]%2 == 1 { // Some numbers take longer than others.
					time.Sleep(100 * time.Microsecond)
				}
				client.Write(number)
			}()
		}
		if len(bytes) == 0 {
			return nil
		}
		_, err := client.Write(bytes)
		return err
	})
	pending.Wait()
}

func main() { accept(listen(), echo) }
