// The worker of Go's os/exec: see src/worker.rs for the protocol.
package main

import (
	"bufio"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func check(err error) {
	if err != nil {
		log.Fatal("go: ", err)
	}
}

// Not close-on-exec, as those of the other workers.
func openFds(count int) {
	first, err := syscall.Open("/dev/null", syscall.O_RDWR, 0)
	check(err)
	for i := 1; i < count; i++ {
		_, err := syscall.Dup(first)
		check(err)
	}
}

func fillMemory(mib int) []byte {
	memory, err := syscall.Mmap(-1, 0, mib<<20, syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_PRIVATE|syscall.MAP_ANON)
	check(err)
	check(syscall.Madvise(memory, syscall.MADV_NOHUGEPAGE))
	for at := 0; at < len(memory); at += 4096 {
		memory[at] = 1
	}
	return memory
}

// Go's runtime handles nearly all signals from the start. This asks for some.
func installHandlers(count int) {
	var signals []os.Signal
	for n := syscall.Signal(1); n <= 64; n++ {
		if n != syscall.SIGKILL && n != syscall.SIGSTOP && n != syscall.SIGCHLD && (n < 32 || n > 34) {
			signals = append(signals, n)
		}
	}
	signals = append(signals, syscall.Signal(34), syscall.SIGCHLD)
	arrived := make(chan os.Signal, 64)
	signal.Notify(arrived, signals[:count]...)
	go func() {
		for range arrived {
		}
	}()
}

func startThreads(count int) {
	for i := 0; i < count; i++ {
		go func() {
			runtime.LockOSThread()
			for {
				syscall.Select(0, nil, nil, nil, nil)
			}
		}()
	}
	// Until each is a thread of its own.
	time.Sleep(time.Duration(count) * 10 * time.Millisecond)
}

func sample(program string, size int) (held, total time.Duration) {
	commands := make([]*exec.Cmd, size)
	for i := range commands {
		commands[i] = exec.Command(program)
		// Else it opens /dev/null three times.
		commands[i].Stdin, commands[i].Stdout, commands[i].Stderr = os.Stdin, os.Stdout, os.Stderr
	}
	before := time.Now()
	for _, command := range commands {
		check(command.Start())
	}
	held = time.Since(before)
	for _, command := range commands {
		check(command.Wait())
	}
	return held, time.Since(before)
}

func main() {
	var state [4]int
	for i := range state {
		value, err := strconv.Atoi(os.Args[i+2])
		check(err)
		state[i] = value
	}
	if state[0] > 0 {
		openFds(state[0])
	}
	var memory []byte
	if state[1] > 0 {
		memory = fillMemory(state[1])
	}
	if state[2] > 0 {
		installHandlers(state[2])
	}
	startThreads(state[3])
	fmt.Println("ready")

	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var peer string
		var count, size int
		var limit int64
		_, err := fmt.Sscanf(lines.Text(), "run %s %d %d %d", &peer, &count, &size, &limit)
		check(err)
		start := time.Now()
		var samples []string
		for len(samples) < count && (len(samples) == 0 || time.Since(start).Nanoseconds() < limit) {
			held, total := sample(os.Args[1], size)
			samples = append(samples, fmt.Sprintf("%d:%d", held.Nanoseconds(), total.Nanoseconds()))
		}
		fmt.Println(strings.Join(samples, " "))
	}
	runtime.KeepAlive(memory)
}
