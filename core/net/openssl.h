/* openssl.h - the functions of OpenSSL 3 that net/tls.c and net/certs.c call, found in libssl.so.3 when TLS is first
 * wanted. Not linked: with the libraries every start of the program, and that of the console's client, would take 2 ms
 * and not 1, whoever needs them; linked statically 1.4, with 5 MB more of program, and the system's updates of OpenSSL
 * would not reach us. So calls are openssl.SSL_new(...), and macros of its headers that call functions are written out;
 * one that is forgotten does not link.
 * Threads: openssl_load from any, once at a time; the table is read-only after it. */
#ifndef NET_OPENSSL_H
#define NET_OPENSSL_H
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stddef.h>

#define OPENSSL_FUNCTIONS(F) \
    F(ASN1_INTEGER_set_uint64) F(ASN1_STRING_get0_data) F(ASN1_STRING_length) F(ASN1_TIME_to_tm) \
    F(BIO_clear_flags) F(BIO_ctrl) F(BIO_free) F(BIO_get_data) F(BIO_meth_new) F(BIO_meth_set_ctrl) \
    F(BIO_meth_set_read) F(BIO_meth_set_write) F(BIO_new) F(BIO_new_mem_buf) F(BIO_s_mem) F(BIO_set_data) \
    F(BIO_set_flags) F(BIO_set_init) \
    F(ERR_clear_error) F(ERR_get_error) F(ERR_peek_last_error) F(ERR_reason_error_string) \
    F(EVP_PKEY_Q_keygen) F(EVP_PKEY_free) F(EVP_sha256) F(GENERAL_NAMES_free) \
    F(OPENSSL_sk_num) F(OPENSSL_sk_value) \
    F(PEM_read_bio_PrivateKey) F(PEM_read_bio_X509) F(PEM_write_bio_PrivateKey) F(PEM_write_bio_X509) \
    F(SSL_CTX_check_private_key) F(SSL_CTX_ctrl) F(SSL_CTX_free) F(SSL_CTX_get0_certificate) F(SSL_CTX_get_cert_store) \
    F(SSL_CTX_new) F(SSL_CTX_set_ciphersuites) F(SSL_CTX_set_num_tickets) F(SSL_CTX_set_options) \
    F(SSL_CTX_set_verify) F(SSL_CTX_set_verify_depth) F(SSL_CTX_use_PrivateKey) F(SSL_CTX_use_certificate) \
    F(SSL_do_handshake) F(SSL_free) F(SSL_get0_peer_certificate) F(SSL_get_error) F(SSL_get_verify_result) \
    F(SSL_key_update) F(SSL_new) F(SSL_pending) F(SSL_read) F(SSL_set_accept_state) F(SSL_set_bio) \
    F(SSL_set_connect_state) \
    F(SSL_shutdown) F(SSL_write) F(TLS_method) \
    F(X509V3_EXT_nconf_nid) F(X509V3_set_ctx) F(X509_EXTENSION_free) F(X509_NAME_add_entry_by_txt) \
    F(X509_STORE_CTX_free) F(X509_STORE_CTX_get_error) F(X509_STORE_CTX_init) F(X509_STORE_CTX_new) \
    F(X509_STORE_add_cert) F(X509_add_ext) F(X509_check_ca) F(X509_check_private_key) F(X509_check_purpose) \
    F(X509_free) F(X509_get0_notAfter) F(X509_get0_pubkey) F(X509_get_ext_d2i) F(X509_get_serialNumber) \
    F(X509_get_subject_name) F(X509_getm_notAfter) F(X509_getm_notBefore) F(X509_gmtime_adj) F(X509_new) \
    F(X509_set_issuer_name) F(X509_set_pubkey) F(X509_set_version) F(X509_sign) F(X509_verify) F(X509_verify_cert) \
    F(X509_verify_cert_error_string)

typedef struct Openssl {
#define F(name) __typeof__(name) *name;
    OPENSSL_FUNCTIONS(F)
#undef F
} Openssl;

extern Openssl openssl;

/* 0, also when it was loaded before, or UV_ENOENT with one line in err. */
int openssl_load(char *err, size_t err_size);
#endif
