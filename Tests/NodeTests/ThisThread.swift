import Glibc

/// What an actor's method answers, waited for on this thread, and carried out in its network namespace: the actor's work
/// runs on this thread.
func here<Answer: Sendable>(_ work: @escaping @Sendable () async -> Answer) -> Answer {
    let executor = ThisThread()
    let box = Box<Answer>()
    let task = Task(executorPreference: executor) {
        box.answer = await work()
        executor.finish()
    }
    executor.run()
    _ = task
    return box.answer!
}

private final class Box<Value>: @unchecked Sendable {
    // SAFETY: written by a task that runs on the thread that reads it afterwards.
    var answer: Value?
}

/// Runs tasks on the thread that calls `run`.
private final class ThisThread: TaskExecutor, @unchecked Sendable {
    // SAFETY: all is touched with the lock held.
    private var lock = pthread_mutex_t()
    private var changed = pthread_cond_t()
    private var jobs: [UnownedJob] = []
    private var isFinished = false

    init() {
        pthread_mutex_init(&lock, nil)
        pthread_cond_init(&changed, nil)
    }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        pthread_mutex_lock(&lock)
        jobs.append(job)
        pthread_cond_signal(&changed)
        pthread_mutex_unlock(&lock)
    }

    func finish() {
        pthread_mutex_lock(&lock)
        isFinished = true
        pthread_cond_signal(&changed)
        pthread_mutex_unlock(&lock)
    }

    func run() {
        while true {
            pthread_mutex_lock(&lock)
            while jobs.isEmpty, !isFinished { pthread_cond_wait(&changed, &lock) }
            let next = jobs.isEmpty ? nil : jobs.removeFirst()
            pthread_mutex_unlock(&lock)
            guard let next else { return }
            next.runSynchronously(on: asUnownedTaskExecutor())
        }
    }
}
