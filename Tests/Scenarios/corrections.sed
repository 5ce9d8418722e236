# Where the recorded Keystone is at fault, what a transcript says instead.
# It ends the connection when a project is to get the name of another: a conflict.
s|^Unable to establish connection to \(<identity>/v3/projects/<[^>]*>\): .*|ConflictException: 409: Client Error for url: \1|
# Its schema refuses the type that the client cannot leave out, and that its documentation allows.
/^\$ openstack credential set /{
    s/    => 1$//
    n
    d
}
