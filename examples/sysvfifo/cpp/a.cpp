// Program A: makes a segment and a FIFO, and sends lines to program B.
//
//     g++ -o a a.cpp && ./a PATH ID FIFO
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <string>

#include <fcntl.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <unistd.h>

namespace {

constexpr size_t segmentSize = 4096;
constexpr size_t messageSize = 1024; // with its NUL

int shmid = -1;
const char *fifo = nullptr;

void removeAll() {
	if (shmid >= 0)
		shmctl(shmid, IPC_RMID, nullptr);
	if (fifo)
		unlink(fifo);
}

[[noreturn]] void fail(const char *what) {
	std::perror(what);
	removeAll();
	std::exit(1);
}

} // namespace

int main(int argc, char **argv) {
	if (argc != 4) {
		std::cerr << "usage: a PATH ID FIFO\n";
		return 2;
	}
	key_t key = ftok(argv[1], std::atoi(argv[2]));
	if (key == -1)
		fail("ftok");
	shmid = shmget(key, segmentSize, IPC_CREAT | IPC_EXCL | 0600);
	if (shmid < 0)
		fail("shmget");
	char *memory = static_cast<char *>(shmat(shmid, nullptr, 0));
	if (memory == reinterpret_cast<char *>(-1))
		fail("shmat");
	if (mkfifo(argv[3], 0600) != 0)
		fail("mkfifo");
	fifo = argv[3];

	int bell = open(fifo, O_WRONLY); // waits for B
	if (bell < 0)
		fail("open");
	char code = 'a';
	for (std::string line; std::getline(std::cin, line);) {
		std::strncpy(memory, line.c_str(), messageSize - 1);
		memory[messageSize - 1] = '\0';
		if (write(bell, &code, 1) != 1)
			fail("write");
	}
	code = 'x';
	if (write(bell, &code, 1) != 1)
		fail("write");

	close(bell);
	shmdt(memory);
	removeAll();
}
